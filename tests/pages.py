"""The page of a run as tests read it."""

from html.parser import HTMLParser

from astroml.report import page


class Page(HTMLParser):
    """Collects what the tests ask for, and refuses tags that do not match."""

    void = ("meta", "img", "br", "source", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def build(run, out):
    page.build(*run, out)
    return Page(out.read_text())
