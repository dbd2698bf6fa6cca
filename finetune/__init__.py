"""Execute a plan: federated LoRA on simulated or real devices; export it; report it.

`finetune.run` plays a plan. What it is made of, from the outside in:

========================= ==================================================================
`session`                 a run from its setup to its result, kept after every round
`server`                  one round: devices asked, answers taken in, joined and stepped along
`local`, `flower`         engines that train the devices: simulated here, or over a network
`replan`                  new plans while a run goes on
`aggregate`               ways to make one adapter of many
`clock`                   what a round takes, who is there, who is late
`exchange`                what server and devices send each other
`monitor`                 metrics, progress
`model`, `data`           the frozen base and its adapters; texts, shares and batches
========================= ==================================================================

`export` and `report` hand plans and runs to other tools and to people.
"""
