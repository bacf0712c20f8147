"""Renders notices for Slack and Google Chat: a card for one, a digest for many. Pure.

Text from outside (a member, an image, Google's answer) appears unchanged and is never markup: no mention, no link, no
bold. Sources: "Formatting text for app surfaces", "Text object" and "Section block" (Slack); "Format a card
message" and "Cards v2" (Google Chat).
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence

from remediate.records.notice import TITLES, Notice, NoticeKind

_LISTED = 20  # notices that a digest names; both services bound the size of a message
_LONGEST = 500  # characters of one value; an image's name and a sentence are shorter
_TEXT = 2900  # characters of one text, escapes included; Slack takes 3000

Card = dict[str, object]
Facts = list[tuple[str, str]]
"""The facts of a card, as label and value."""


def slack(notices: Sequence[Notice]) -> Card:
    """The body of a Slack post: one complete notice, or a digest."""
    if len(notices) == 1:
        [notice] = notices
        facts = [f"*{label}*  {_code(value)}" for label, value in _facts(notice)]
        words = map(_words, _chunks(list(map(_escaped, _sentences(notice)))))
        sections = [*words, *map(_marked, _chunks(facts)), _slack_link(_way(notice), _opens(notice))]
        return _slack_message(notice.title, notice.summary, sections)
    title, lines, link = _digest(notices)
    return _slack_message(title, title, [*map(_words, _chunks(lines)), _slack_link(link, "Open the inbox")])


def chat(notices: Sequence[Notice]) -> Card:
    """The body of a Google Chat post: one complete notice, or a digest."""
    if len(notices) == 1:
        [notice] = notices
        widgets = [_paragraph("<br>".join(map(_escaped, _sentences(notice))))]
        widgets += [
            {"decoratedText": {"topLabel": label, "text": _escaped(value), "wrapText": True}}
            for label, value in _facts(notice)
        ]
        widgets.append(_chat_link(_way(notice), _opens(notice)))
        return _chat_message(notice.id, notice.title, notice.summary, widgets)
    title, lines, link = _digest(notices)
    paragraphs = [_paragraph(chunk.replace("\n", "<br>")) for chunk in _chunks(lines)]
    return _chat_message(notices[0].id, title, title, [*paragraphs, _chat_link(link, "Open the inbox")])


def _sentences(notice: Notice) -> list[str]:
    """What happened, why, and what to do."""
    why = " ".join(reason.sentence for reason in notice.reasons)
    return [notice.summary, *([why] if why else []), notice.advice]


def _opens(notice: Notice) -> str:
    """The label of the link."""
    proposal = notice.kind in (NoticeKind.PROPOSED, NoticeKind.LAPSING)
    return "Open the inbox" if notice.kind in _OF_MANY else f"Open the {'proposal' if proposal else 'remediation'}"


def _facts(notice: Notice) -> Facts:
    deploy = notice.deploy
    where = [deploy.project or deploy.number, deploy.location, deploy.kind, deploy.name] if deploy else []
    found = [
        ("Member", notice.member),
        ("Repository", notice.repository),
        ("Image", notice.image or ""),
        ("Deploy", " / ".join(part for part in where if part)),
        ("Deployed by", ", ".join(notice.deployers)),
        ("Denied", f"{notice.denials}, first at {notice.first_seen[:16]}Z" if notice.denials else "not yet"),
        ("Note", notice.note),
        ("Remediation", notice.remediation),
    ]
    return [(label, _plain(value)) for label, value in found if value]


_OF_MANY = (NoticeKind.BRAKE, NoticeKind.GATHERED)
"""Kinds about many remediations, which link to the inbox."""
_FIRST = (*_OF_MANY, NoticeKind.REFUSED, NoticeKind.LAPSING, NoticeKind.PROPOSED, NoticeKind.GRANTED)
"""The order of a digest: groups first, then what needs action."""


def _digest(notices: Sequence[Notice]) -> tuple[str, list[str], tuple[str | None, str]]:
    """The title with counts, one line per notice, and the link to the inbox."""
    notices = sorted(notices, key=lambda notice: _FIRST.index(notice.kind))
    counts = Counter(notice.kind for notice in notices)
    title = ", ".join(f"{counts[kind]} {TITLES[kind].lower()}" for kind in NoticeKind if counts[kind])
    listed = ((each, f" {each.advice}" if each.kind in _OF_MANY else "") for each in notices[:_LISTED])
    lines = [_escaped(f"{TITLES[each.kind]}: {each.summary}{advice}") for each, advice in listed]
    if len(notices) > _LISTED:
        lines.append(f"and {len(notices) - _LISTED} more")
    link = next((each.link for each in notices if each.link), None)
    own = next((each for each in notices if each.link and each.kind not in _OF_MANY), None)
    inbox = f"{(own.link or '').removesuffix(f'/r/{own.remediation}')}/" if own else link
    return f"{len(notices)} notices: {title}", lines, (inbox, "remediate list")


def _way(notice: Notice) -> tuple[str | None, str]:
    """The link of a notice, and the command that shows the same."""
    command = "list" if notice.kind in _OF_MANY else f"show {notice.remediation}"
    return notice.link, f"remediate {command}"


def _plain(value: str) -> str:
    """One line of printable text, cut to a fixed length."""
    text = " ".join("".join(each if each.isprintable() else " " for each in value).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _escaped(value: str) -> str:
    """Escape the three characters of both services' markup: no mention, no link, no tag."""
    return html.escape(_plain(value), quote=False)


def _chunks(lines: list[str]) -> list[str]:
    """Join the lines into as few texts as the length limit allows."""
    texts: list[str] = []
    for line in lines:
        if texts and len(texts[-1]) + len(line) < _TEXT:
            texts[-1] += f"\n{line}"
        else:
            texts.append(line)
    return texts


# Slack


def _code(value: str) -> str:
    """A value to copy, as inline code, where only <...> has a meaning."""
    return f"`{_escaped(value.replace('`', chr(0x2BC)))}`"


def _words(text: str) -> Card:
    """Plain text, in which * and _ have no meaning."""
    return {"type": "section", "text": {"type": "plain_text", "text": text, "emoji": False}}


def _marked(text: str) -> Card:
    """Slack markup. `verbatim`: Slack does not turn text that looks like a link or a name into one."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _slack_link(way: tuple[str | None, str], words: str) -> Card:
    """A link, not a button: Slack also sends a button click to an app, and an incoming webhook has none."""
    link, command = way
    return _marked(f"<{html.escape(link, quote=False)}|{words}>" if link else f"`{command}`")


def _slack_message(title: str, summary: str, sections: list[Card]) -> Card:
    header = {"type": "header", "text": {"type": "plain_text", "text": title[:150], "emoji": False}}
    fallback = _escaped(f"{title}: {summary}" if summary != title else title)
    return {"text": fallback, "blocks": [header, *sections], "unfurl_links": False, "unfurl_media": False}


# Google Chat


def _paragraph(text: str) -> Card:
    return {"textParagraph": {"text": text}}


def _chat_link(way: tuple[str | None, str], words: str) -> Card:
    link, command = way
    if link is None:
        return _paragraph(command)
    return {"buttonList": {"buttons": [{"text": words, "onClick": {"openLink": {"url": link}}}]}}


def _chat_message(ident: str, title: str, summary: str, widgets: list[Card]) -> Card:
    card = {"header": {"title": title}, "sections": [{"widgets": widgets}]}
    fallback = _plain(f"{title}: {summary}" if summary != title else title)
    return {"fallbackText": fallback, "cardsV2": [{"cardId": ident, "card": card}]}
