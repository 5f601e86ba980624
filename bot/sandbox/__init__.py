"""Local stand-ins for Discord and for the services of models, and the demo they carry; never used in production."""
