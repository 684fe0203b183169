"""Figures of data sets and of runs. Sheets and cards need Pillow alone, plots and curves matplotlib."""
