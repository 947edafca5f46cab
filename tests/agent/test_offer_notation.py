from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.offer_notation import read_moment, write_moment

NEW_YORK = ZoneInfo("America/New_York")
HAVANA = ZoneInfo("America/Havana")  # its clock is changed at midnight
ZONES = (NEW_YORK, HAVANA, ZoneInfo("Asia/Kathmandu"), ZoneInfo("Australia/Lord_Howe"))
EDT, EST = timezone(timedelta(hours=-4)), timezone(timedelta(hours=-5))


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        (date(2018, 2, 1), datetime(2018, 2, 1, 5, tzinfo=UTC)),
        (datetime(2018, 2, 1, 18), datetime(2018, 2, 1, 23, tzinfo=UTC)),
        (datetime(2018, 2, 1, 18, tzinfo=UTC), datetime(2018, 2, 1, 18, tzinfo=UTC)),
        (datetime(2017, 11, 5, 1, 30, tzinfo=EDT), datetime(2017, 11, 5, 5, 30, tzinfo=UTC)),
        (datetime(2017, 11, 5, 1, 30, tzinfo=EST), datetime(2017, 11, 5, 6, 30, tzinfo=UTC)),
    ],
)
def test_days_and_times_are_read_on_the_shop_s_clock(
    written: date | datetime, moment: datetime
) -> None:
    read = read_moment(written, NEW_YORK)
    assert read.tzinfo is NEW_YORK
    assert read.astimezone(UTC) == moment


@pytest.mark.parametrize(
    ("written", "zone", "how_often", "such_as"),
    [
        (datetime(2017, 11, 5, 1, 30), NEW_YORK, "twice", "2017-11-05T01:30:00-05:00"),
        (datetime(2017, 3, 12, 2, 30), NEW_YORK, "never", "-04:00"),
        (date(2017, 11, 5), HAVANA, "twice", "2017-11-05T00:00:00-05:00"),
        (date(2017, 3, 12), HAVANA, "never", "-04:00"),
    ],
)
def test_a_time_that_comes_twice_or_never_is_refused(
    written: date | datetime, zone: ZoneInfo, how_often: str, such_as: str
) -> None:
    with pytest.raises(ValueError, match=f"comes {how_often} in {zone.key}") as raised:
        read_moment(written, zone)
    assert such_as in str(raised.value)


@pytest.mark.parametrize("written", ["2018-02-01", 20180201, None, True])
def test_what_is_no_moment_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="must be a day such as"):
        read_moment(written, NEW_YORK)


@pytest.mark.parametrize("written", [date(1969, 12, 31), date(3000, 1, 1), date.max, date.min])
def test_far_away_years_are_refused(written: date) -> None:
    with pytest.raises(ValueError, match="1970 to 2999"):
        read_moment(written, NEW_YORK)


def test_a_midnight_is_written_as_a_day() -> None:
    assert write_moment(datetime(2018, 2, 1, 5, tzinfo=UTC), NEW_YORK) == date(2018, 2, 1)
    written = write_moment(datetime(2018, 2, 1, 5, tzinfo=UTC), UTC)
    assert written == datetime(2018, 2, 1, 5)


@given(
    moment=st.datetimes(datetime(1971, 1, 1), datetime(2999, 12, 30), timezones=st.just(UTC)),
    zone=st.sampled_from(ZONES),
)
def test_every_moment_is_read_back_as_written(moment: datetime, zone: ZoneInfo) -> None:
    assert read_moment(write_moment(moment, zone), zone).astimezone(UTC) == moment


@given(minutes=st.integers(-180, 180), zone=st.sampled_from((NEW_YORK, HAVANA)))
def test_so_is_every_moment_around_a_change_of_the_clock(minutes: int, zone: ZoneInfo) -> None:
    for changed in (datetime(2017, 3, 12, 6, tzinfo=UTC), datetime(2017, 11, 5, 5, 30, tzinfo=UTC)):
        moment = changed + timedelta(minutes=minutes)
        assert read_moment(write_moment(moment, zone), zone).astimezone(UTC) == moment
