"""Reading, checking and comparing the configuration. Import the module you need from here."""
