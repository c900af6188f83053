"""What the lessons share. In reading order: data, models, training, show, checks, build, commands."""
