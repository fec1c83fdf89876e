"""What a round of the data engine is: settings, phases, plan, state, lineage, and the `engine` command."""
