"""C functions that read dates, times of the day and durations, as
`kurve.tables.dates` does. NAME stands for the file's prefix."""

from __future__ import annotations

from kurve.exchange.c_cells import named, strings
from kurve.tables.dates import MONTHS

CLOCK = r"""
/* Seconds since midnight at s, and where its text ends; NAN if there is no time. */
static double NAME_clock(const char *s, const char **end)
{
    double parts[3] = {0.0, 0.0, 0.0};
    int i, count = 0;
    for (i = 0; i < 3; i++) {
        int digits = 0;
        while (NAME_digit(*s) && digits < 6) {
            parts[i] = parts[i] * 10.0 + (*s++ - '0');
            digits++;
        }
        if (digits == 0) return NAN;
        count++;
        if (*s != ':') break;
        s++;
    }
    if (count == 3 && (*s == '.' || *s == ',')) {
        double unit = 0.1;
        for (s++; NAME_digit(*s); s++, unit *= 0.1) parts[2] += unit * (*s - '0');
    }
    *end = s;
    return count < 2 ? NAN : parts[0] * 3600.0 + parts[1] * 60.0 + parts[2];
}
"""

HALF = r"""
/* The same, with a.m. and p.m. */
static double NAME_half(const char *s, const char **end)
{
    double seconds = NAME_clock(s, &s);
    *end = s;
    while (NAME_space(*s)) s++;
    if ((*s == 'a' || *s == 'A' || *s == 'p' || *s == 'P') &&
        (s[1] == 'm' || s[1] == 'M' || (s[1] == '.' && (s[2] == 'm' || s[2] == 'M')))) {
        const double noon = 43200.0;
        if (seconds < 3600.0 || seconds >= 46800.0) return NAN;
        if (seconds >= noon) seconds -= noon;
        if (*s == 'p' || *s == 'P') seconds += noon;
        for (s++; *s == '.' || *s == 'm' || *s == 'M'; s++) continue;
        *end = s;
    }
    return seconds < 90000.0 ? seconds : NAN;
}
"""

DATE = r"""
/* The month whose name begins with these letters; 0 if none does. */
static int NAME_month(const char *s, int length)
{
    char name[16];
    int i;
    if (length < 3 || length > 15) return 0;
    for (i = 0; i < length; i++)
        name[i] = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] + 32) : s[i];
    name[length] = 0;
    for (i = 0; i < COUNT_MONTHS; i++)
        if (strcmp(name, NAME_months[i]) == 0) return NAME_month_of[i];
    return 0;
}

/* Seconds of a day since 1970; NAN for a day that does not exist. */
static double NAME_day(long year, int month, int day)
{
    static const int lengths[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    long era, days;
    int shifted;
    if (month < 1 || month > 12 || day < 1 || year < 1 || year > 9999 ||
        day > lengths[month - 1] + (month == 2 && leap))
        return NAN;
    year -= month <= 2;
    era = year / 400;
    year -= era * 400;
    shifted = (month + 9) % 12;
    days = era * 146097 + year * 365 + year / 4 - year / 100 +
           (153 * shifted + 2) / 5 + day - 719469;
    return 86400.0 * (double)days;
}

/* Seconds since 1970 of a date, on the clock of its place; NAN if it is none.
   order: 'm' for month first, 'd' otherwise, 'c' for times of the day, 'z' to count
   the hours from Greenwich */
static double NAME_date(const char *s, char order)
{
    const char *stop, *p, *clock = NULL;
    long value[4];
    int length[4], count = 0, month = 0, quarter = -1, day = 1;
    long year;
    double seconds = 0.0;
    while (NAME_space(*s)) s++;
    stop = s + strlen(s);
    while (stop > s && NAME_space(stop[-1])) stop--;
    if (order == 'c') {
        seconds = NAME_half(s, &p);
        while (NAME_space(*p)) p++;
        return p == stop ? seconds : NAN;
    }
    for (p = s; p < stop && clock == NULL; p++)
        if (*p == ':') clock = p;
    year = -1;
    if (clock != NULL) {
        while (clock > s && NAME_digit(clock[-1])) clock--;
        seconds = NAME_half(clock, &p);
        while (p < stop && (NAME_space(*p) || NAME_letter(*p))) p++;
        if (*p == '+' || *p == '-') {
            const int west = *p == '-';
            int digits[4], i;
            for (i = 0, p++; i < 4 && p < stop; p++)
                if (NAME_digit(*p)) digits[i++] = *p - '0';
                else if (*p != ':') return NAN;
            if (i == 4 && order == 'z')
                seconds += (west ? 60.0 : -60.0) *
                           (600 * digits[0] + 60 * digits[1] + 10 * digits[2] +
                            digits[3]);
        }
        while (p < stop && NAME_space(*p)) p++;
        if (p < stop && stop - p == 4) year = strtol(p, NULL, 10);
        else if (p < stop) return NAN;
        stop = clock;
        while (stop > s && (NAME_space(stop[-1]) || stop[-1] == ',')) stop--;
        if (stop > s + 1 && stop[-1] == 'T' && NAME_digit(stop[-2])) stop--;
        if (stop > s + 3 && strncmp(stop - 3, " at", 3) == 0) stop -= 3;
    }
    for (p = s; p < stop;) {
        if (NAME_digit(*p)) {
            if (count == 4) return NAN;
            value[count] = 0;
            length[count] = 0;
            while (p < stop && NAME_digit(*p) && length[count] < 8) {
                value[count] = value[count] * 10 + (*p++ - '0');
                length[count]++;
            }
            count++;
        } else if (NAME_letter(*p)) {
            const char *first = p;
            int named, letters;
            while (p < stop && NAME_letter(*p)) p++;
            letters = (int)(p - first);
            named = NAME_month(first, letters);
            if (letters == 1 && *first == 'Q' && p < stop && NAME_digit(*p))
                quarter = count;
            else if (named)
                month = named;
            else if (letters == 1 && *first != 'T')
                return NAN;
        } else if (strchr(" -/.,", *p) != NULL) {
            p++;
        } else {
            return NAN;
        }
    }
    if (count > 1 && length[0] == 8 && (length[1] == 4 || length[1] == 6)) {
        const long time = length[1] == 4 ? value[1] * 100 : value[1];
        seconds = (double)(time / 10000 * 3600 + time / 100 % 100 * 60 + time % 100);
        count = 1;
    }
    if (year >= 0) { /* behind the time of the day */
        if (count != 1 || !month) return NAN;
        day = (int)value[0];
    } else if (quarter >= 0) {
        if (count != 2) return NAN;
        month = 3 * (int)value[quarter] - 2;
        year = value[1 - quarter];
    } else if (month) {
        const int last = count == 2 && length[0] < 4;
        if (count < 1 || count > 2) return NAN;
        year = value[last];
        if (count == 2) day = (int)value[1 - last];
        if (length[last] == 2) year += year > 68 ? 1900 : 2000;
    } else if (count == 1) {
        if (length[0] != 8) return NAN;
        year = value[0] / 10000;
        month = (int)(value[0] / 100 % 100);
        day = (int)(value[0] % 100);
    } else if (count == 2) {
        const int first = length[0] == 4 ? 0 : 1;
        if (length[first] != 4) return NAN;
        year = value[first];
        month = (int)value[1 - first];
    } else if (count == 3 && length[0] == 4) {
        year = value[0];
        month = (int)value[1];
        day = (int)value[2];
    } else if (count == 3) {
        const int first = order == 'm' ? 0 : 1;
        month = (int)value[first];
        day = (int)value[1 - first];
        year = value[2];
        if (length[2] == 2) year += year > 68 ? 1900 : 2000;
        else if (length[2] != 4) return NAN;
    } else {
        return NAN;
    }
    return NAME_day(year, month, day) + seconds;
}
"""

LETTER = r"""
static int NAME_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
}
"""

DURATION = r"""
/* Days of a duration such as "1 days 02:03:04"; NAN if the cell is none. */
static double NAME_duration(const char *s)
{
    double days = 0.0, clock;
    int minus = 0, any = 0;
    const char *p;
    while (NAME_space(*s)) s++;
    if (*s == '-') {
        minus = 1;
        s++;
    }
    if (*s == 'P') s++;
    for (p = s; NAME_digit(*p); p++) continue;
    if (p > s && *p != ':') {
        for (; s < p; s++) days = days * 10.0 + (*s - '0');
        while (NAME_space(*s)) s++;
        if (*s != 'd' && *s != 'D') return NAN;
        while (NAME_letter(*s) || *s == ',' || NAME_space(*s)) s++;
        any = 1;
    }
    if (*s) {
        clock = NAME_clock(s, &s);
        if (isnan(clock)) return NAN;
        while (NAME_space(*s)) s++;
        if (*s) return NAN;
        days += clock / 86400.0;
        any = 1;
    }
    return any ? (minus ? -days : days) : NAN;
}
"""


def dates(name: str) -> list[str]:
    """The functions that read dates."""
    tables = strings(f"{name}_months", MONTHS)
    tables += [
        f"static const int {name}_month_of[{len(MONTHS)}] = {{",
        "    " + ", ".join(map(str, MONTHS.values())),
        "};",
    ]
    return [
        *tables,
        *named(HALF, name),
        *named(DATE.replace("COUNT_MONTHS", str(len(MONTHS))), name),
    ]
