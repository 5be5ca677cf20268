"""Tables, figures, claims and the HTML report, all drawn from the tidy results."""
