"""What the tasks' networks share in torch: device, batches, augmentation, blocks, weights."""
