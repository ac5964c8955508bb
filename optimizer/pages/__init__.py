"""A run as one HTML page that loads nothing from elsewhere, and its pictures.

    story       all that a page tells of a run
    page        the page: page.html, page.css and page.js around tables and pictures
    figures     the pictures, as SVG
    plot        axes and marks that they are drawn with
    mistakes    which answers were given for which, row by row

Takes records, opens nothing, prints nothing.
"""
