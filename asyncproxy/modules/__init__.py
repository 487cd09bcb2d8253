"""Stock modules, one file each, written as a stranger would write them."""
