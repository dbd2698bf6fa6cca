"""The federated round on Flower: SuperLink, SuperNodes, one message a device and round.

::

    legend run --engine flower       a server's machine          a device's machine
      launch ─────────────────────▶ SuperLink ◀───────────────▶ SuperNode
      (starts, watches, ends all)     serverapp: finetune.run      clientapp (thin)
                                        engine ◀─ orders, reports ─▶ worker (resident)
                                                                       node: InProcessEngine

- `orders`: what travels beside the adapters, as closed schemas.
- `engine`, `roster`, `serverapp`: the server's side. `clientapp`, `resident`, `worker`, `node`:
  a device's side. A process serves one Flower message, so model and data live in a worker.
- `launch`, `processes`, `shares`, `app`: a federation on this machine with one command.
- `keys`: certificates and keys for one that spans machines.

A device trains through the very code of the in-process engine, with the same seeds, so both
engines give the same adapter. The protocol is described in ``docs/flower.md``.
"""
