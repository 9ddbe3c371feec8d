"""Prepared data sets: shards of WebDataset's tar layout with an index, how they are made, read and looked over."""
