"""Hand a plan to other tools: one module a target, each turns a plan into files."""
