"""The paper's questions asked of finished runs: results, the numbers and sentences that answer them, the tables."""
