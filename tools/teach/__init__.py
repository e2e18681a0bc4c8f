"""What a lecturer needs beside the notebooks: slides, copies for students, assignments that grade themselves."""
