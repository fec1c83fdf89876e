"""How often the gate refuses a model that was over-fitted a little."""
