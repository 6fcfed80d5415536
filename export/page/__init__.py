"""The page that runs a release in a browser: its files, the runtime it needs, and a server for one machine."""
