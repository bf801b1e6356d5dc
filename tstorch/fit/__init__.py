"""Whether a model runs on a device that is not at hand: four independent checks, each with its evidence."""
