"""The words everyone shares: types, units, states, ids and errors. Imports nothing else of this package."""
