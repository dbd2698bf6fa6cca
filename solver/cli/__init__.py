"""The solver's commands, one file each, loaded when called; nothing else imports them."""
