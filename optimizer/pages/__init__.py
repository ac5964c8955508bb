"""A run as one HTML page that loads nothing from elsewhere, and its pictures.

    story       all that a page shows of a run
    page        the page: page.html, page.css and page.js around tables and pictures
    figures     the pictures, as SVG
    plot        the axes and marks of the pictures
    mistakes    which answers are confused, row by row

Takes records, opens nothing, prints nothing.
"""
