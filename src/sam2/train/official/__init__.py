"""Training configurations of the official code, translated."""
