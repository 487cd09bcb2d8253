"""The live page: what an onlooker's browser is sent, as HTML, as files, and as events."""
