"""Speed measured against a peer that gives the same answer, one file a claim; `make bench` runs them all."""
