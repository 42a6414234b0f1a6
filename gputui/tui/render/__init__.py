"""From records to what is painted. Pure: no widget, no store, no clock; colours only by the names of theme variables."""
