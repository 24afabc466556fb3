"""C functions that read cells of text as Kurve does: missing values, levels, numbers in
local notation, and words. NAME stands for the file's prefix."""

from __future__ import annotations

from collections.abc import Iterable

from kurve.exchange.c_text import literal
from kurve.tables.numerals import CODES, CURRENCIES, MINUS, MISSING

GAP = r"""
static int NAME_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Whether a cell has no value. */
static int NAME_gap(const char *s)
{
    size_t length;
    int i;
    if (s == NULL) return 1;
    while (NAME_space(*s)) s++;
    length = strlen(s);
    while (length > 0 && NAME_space(s[length - 1])) length--;
    for (i = 0; i < COUNT_GAPS; i++)
        if (strlen(NAME_gaps[i]) == length && memcmp(s, NAME_gaps[i], length) == 0)
            return 1;
    return 0;
}
"""

LEVEL = r"""
/* The place of a cell among the levels: -1 for no value, count for an unknown one. */
static int NAME_level(const char *s, const char *const *levels, int count)
{
    int i;
    for (i = 0; s != NULL && i < count; i++)
        if (strcmp(s, levels[i]) == 0) return i;
    return NAME_gap(s) ? -1 : count;
}
"""

NUMBER_LEVEL = r"""
static int NAME_number_level(double x, const double *levels, int count)
{
    int i;
    if (isnan(x)) return -1;
    for (i = 0; i < count; i++)
        if (x == levels[i]) return i;
    return count;
}
"""

NUMBER = r"""
/* Whether s begins with one of some texts; its length. */
static int NAME_prefix(const char *s, const char *const *texts, int count)
{
    int i, best = 0;
    for (i = 0; i < count; i++) {
        const int length = (int)strlen(texts[i]);
        if (length > best && strncmp(s, texts[i], (size_t)length) == 0) best = length;
    }
    return best;
}

/* A number with thousands separated, a currency, per cent, or brackets for a loss;
   NAN if the cell is none. */
static double NAME_local(const char *s, char decimal)
{
    char text[64];
    int used = 0, digits = 0, group = -1, fraction = 0, exponent = 0;
    int minus = 0, open = 0, closed = 0, ended = 0, length, separator = 0;
    double value;
    if (NAME_gap(s)) return NAN;
    while (*s) {
        const unsigned char c = (unsigned char)*s;
        if (c >= '0' && c <= '9') {
            if (ended || used > 60) return NAN;
            text[used++] = (char)c;
            digits++;
            if (group >= 0 && !fraction && !exponent && ++group > 3) return NAN;
            s++;
        } else if (*s == decimal) {
            if (fraction || exponent || ended || (group >= 0 && group != 3)) return NAN;
            fraction = 1;
            text[used++] = '.';
            s++;
        } else if (digits && !exponent && !ended && strchr("eEdD", c) &&
                   (NAME_digit(s[1]) ||
                    ((s[1] == '-' || s[1] == '+') && NAME_digit(s[2])))) {
            exponent = 1;
            text[used++] = 'e';
            if (!NAME_digit(s[1])) text[used++] = *++s;
            s++;
        } else if (c == '(' && !open && !digits && !minus) {
            open = 1;
            s++;
        } else if (c == ')' && open && !closed && digits) {
            closed = ended = 1;
            s++;
        } else if ((length = NAME_prefix(s, NAME_minus, COUNT_MINUS)) > 0) {
            if (minus || open || ended) return NAN;
            minus = digits && *s != '-' ? -1 : 1;
            ended = digits > 0;
            s += length;
        } else if (c == '+' && !digits && !minus && !open) {
            minus = 2;
            s++;
        } else if (digits && !fraction && !exponent && !ended &&
                   (length = NAME_prefix(s, NAME_marks, COUNT_MARKS)) > 0 &&
                   NAME_digit(s[length]) && *s != decimal) {
            if (group >= 0 ? (separator != c || group != 3)
                           : (digits > 3 || text[0] == '0'))
                return NAN;
            separator = c;
            group = 0;
            s += length;
        } else if ((length = NAME_prefix(s, NAME_blanks, COUNT_BLANKS)) > 0) {
            s += length;
        } else if ((length = NAME_prefix(s, NAME_units, COUNT_UNITS)) > 0) {
            ended = digits > 0;
            s += length;
        } else {
            return NAN;
        }
    }
    if (!digits || open != closed || (group >= 0 && group != 3)) return NAN;
    text[used] = 0;
    value = NAME_read(text);
    return open || minus == 1 ? -value : value;
}
"""

READ = r"""
/* A number with a point, whatever the locale. */
static double NAME_read(const char *s)
{
    char text[66];
    const struct lconv *here = localeconv();
    size_t i, at = strcspn(s, ".");
    if (s[at] == 0 || strcmp(here->decimal_point, ".") == 0 ||
        strlen(here->decimal_point) != 1)
        return strtod(s, NULL);
    for (i = 0; i < 65 && s[i]; i++) text[i] = i == at ? *here->decimal_point : s[i];
    text[i] = 0;
    return strtod(text, NULL);
}
"""

DIGIT = r"""
static int NAME_digit(char c)
{
    return c >= '0' && c <= '9';
}
"""

WORDS = r"""
/* The next character of a text in UTF-8. */
static long NAME_character(const char **s)
{
    const unsigned char *p = (const unsigned char *)*s;
    long c = *p++;
    int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
    if (more) c &= 0x3f >> more;
    for (; more > 0 && (*p & 0xc0) == 0x80; more--) c = c << 6 | (*p++ & 0x3f);
    *s = (const char *)p;
    return c;
}

/* Whether a character is a letter, a digit, or "_". */
static int NAME_in_word(long c)
{
    int low = 0, high = COUNT_RANGES;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (c < NAME_ranges[2 * middle]) high = middle;
        else if (c > NAME_ranges[2 * middle + 1]) low = middle + 1;
        else return 1;
    }
    return 0;
}

static long NAME_lower(long c)
{
    int i;
    if (c >= 'A' && c <= 'Z') return c + 32;
    for (i = 0; c >= 0x80 && i < COUNT_CAPITALS; i++)
        if (NAME_capitals[2 * i] == c) return NAME_capitals[2 * i + 1];
    return c;
}

/* Mark which words a text has, 0 or 1. */
static void NAME_words(const char *s, const long *words, int count, int longest,
                       double *z)
{
    long token[LONGEST_WORD + 1], c;
    int i, j, size = 0;
    for (i = 0; i < count; i++) z[i] = 0.0;
    if (s == NULL) return;
    do {
        c = *s ? NAME_character(&s) : 0;
        if (c && NAME_in_word(c)) {
            if (size <= LONGEST_WORD) token[size++] = NAME_lower(c);
            continue;
        }
        for (i = 0; size && size <= longest && i < count; i++) {
            for (j = 0; j < size && words[i * (longest + 1) + j] == token[j]; j++)
                continue;
            if (j == size && words[i * (longest + 1) + j] == 0) z[i] = 1.0;
        }
        size = 0;
    } while (c);
}
"""


def strings(name: str, values: Iterable[str]) -> list[str]:
    """A constant array of strings."""
    found = [f"    {literal(value)}," for value in values]
    return [f"static const char *const {name}[{len(found)}] = {{", *found, "};"]


def longs(name: str, values: Iterable[int]) -> list[str]:
    """A constant array of long."""
    found = list(map(str, values))
    rows = [
        "    " + ", ".join(found[first : first + 12]) + ","
        for first in range(0, len(found), 12)
    ]
    return [f"static const long {name}[{len(found)}] = {{", *rows, "};"]


def gap(name: str) -> list[str]:
    """The function that finds cells without a value."""
    text = GAP.replace("COUNT_GAPS", str(len(MISSING)))
    return [*strings(f"{name}_gaps", MISSING), *named(text, name)]


def number(name: str, measured: Iterable[str]) -> list[str]:
    """The functions that read numbers in local notation.

    Args:
        measured: units of measurement.
    """
    blanks = [" ", "\t", "\u00a0", "\u202f", "\u2009", "\u2007"]
    units = ["%", "‰", *CURRENCIES, *(c + "." for c in CODES.split("|"))]
    groups = {
        "minus": list(MINUS),
        "marks": [",", ".", "'", "’", "`", *blanks],
        "blanks": blanks,
        "units": [*units, *CODES.split("|"), *measured],
    }
    tables = [
        line
        for key, found in groups.items()
        for line in strings(f"{name}_{key}", found)
    ]
    text = READ + NUMBER
    for key, found in groups.items():
        text = text.replace(f"COUNT_{key.upper()}", str(len(found)))
    return [*tables, *named(text, name)]


def words(name: str, known: Iterable[str]) -> list[str]:
    """The functions that find words, for words that are known."""
    known = list(known)
    ranges: list[int] = []
    inside = False
    for code in range(0x110000):
        now = chr(code).isalnum() or chr(code) == "_"
        if now != inside:
            ranges.append(code if now else code - 1)
            inside = now
    letters = set("".join(known))
    capitals = [
        (code, ord(chr(code).lower()))
        for code in range(0x80, 0x1F000)
        if chr(code).lower() in letters and chr(code).lower() != chr(code)
    ]
    pairs = [code for pair in capitals for code in pair] or [0, 0]
    text = WORDS.replace("COUNT_RANGES", str(len(ranges) // 2))
    text = text.replace("COUNT_CAPITALS", str(len(pairs) // 2))
    text = text.replace("LONGEST_WORD", str(max(map(len, known))))
    return [
        *longs(f"{name}_ranges", ranges),
        *longs(f"{name}_capitals", pairs),
        *named(text, name),
    ]


def helpers(name: str, *texts: str) -> list[str]:
    """Functions without tables."""
    return [line for text in texts for line in named(text, name)]


def named(text: str, name: str) -> list[str]:
    """The lines of a text, with the file's prefix."""
    return [*text.replace("NAME", name).strip("\n").split("\n"), ""]
