"""Tables, figures, claims and the HTML report. All of it reads the tidy results and nothing else of a run's internals."""
