"""Plan anew while a run goes on: observe devices, ask the solver, adopt its plan."""
