# SPDX-License-Identifier: BSD-3-Clause
"""The commands, QMP requests and messages in a man page, so that tests run what the page says."""
import json
import re
import shlex

from support.py.paths import SOURCE


class ManPage:
    """The source of a man page.

    replace: {text of the page: what a test uses instead}, such as paths
    used:    literal paragraphs and messages that a test has requested
    """

    def __init__(self, name, replace=None):
        text = (SOURCE / "man" / f"{name}.scd").read_text(encoding="utf-8")
        self._replace = {name: str(value) for name, value in (replace or {}).items()}
        self.blocks = {}
        for section, body in re.findall(r"^# (.+)\n((?:(?!# ).*\n)*)", text, re.M):
            literal = "\n\n".join(re.findall(r"^```\n(.*?)^```\n", body, re.M | re.S))
            paragraphs = [part.strip("\n") for part in literal.split("\n\n") if part.strip()]
            self.blocks[section] = [part.replace("\\\\", "\\") for part in paragraphs]
        terms = text.split("\n# MESSAGES\n")[1].split("\n# ")[0] if "\n# MESSAGES\n" in text else ""
        self.messages = re.findall(r"^\*(.+)\*\n\t", terms, re.M)
        self.used = set()

    def everything(self):
        """Return: all literal paragraphs and messages of the page."""
        return {block for blocks in self.blocks.values() for block in blocks} | set(self.messages)

    def block(self, section, word):
        """Return: the only literal paragraph of a section that contains this word."""
        return self._only([block for block in self.blocks[section] if word in block], word)

    def message(self, word):
        """Return: the only message that contains this word."""
        return self._only([message for message in self.messages if word in message], word)

    def commands(self, section, word):
        """Return: the commands in a paragraph, each as a list of words."""
        lines = self.block(section, word).replace("\\\n", " ").split("\n")
        return [shlex.split(line) for line in lines]

    def requests(self, section, word):
        """Return: the QMP requests in a paragraph."""
        decoder, text, found = json.JSONDecoder(), self.block(section, word), []
        while text:
            request, end = decoder.raw_decode(text)
            found.append(request)
            text = text[end:].lstrip()
        return found

    def _only(self, found, word):
        assert len(found) == 1, f"{len(found)} paragraphs contain {word!r}: {found}"
        self.used.add(found[0])
        pattern = "|".join(map(re.escape, sorted(self._replace, key=len, reverse=True)))
        return re.sub(pattern, lambda match: self._replace[match[0]], found[0]) if pattern \
            else found[0]
