"""Training one stage with DeepSpeed, in as many processes as there are; Ray or torchrun starts them."""
