"""What stands and drives beside the road: where it is, how it is painted, how it is drawn."""
