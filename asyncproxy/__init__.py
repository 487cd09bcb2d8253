"""A programmable HTTP proxy on Twisted: await anywhere, block anywhere."""
