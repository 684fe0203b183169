"""Step protocol, beam search (greedy is width 1), sampling, constraints."""
