"""Running an artifact on a GPU: worker process, device, executor, recorder. Knows no compiler."""
