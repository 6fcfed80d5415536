import pytest

from start.choose import STUDENT, TEACHERS, Choice, Hardware, Sizes, choose, may_differ, minutes
from verify.ledger import confidence_of_look
from verify.statistics import Proportion

CPU = Hardware(None, 2)
GPU = Hardware("a card", 16)


def sizes(images: int) -> Sizes:
    return Sizes(train=images * 6 // 10, val=images // 10, calibration=images // 10, test=images // 5)


def chosen(images: int, hardware: Hardware, teacher: str | None = None) -> Choice:
    return choose(sizes(images), hardware, teacher)


def test_choose__more_hardware_gives_larger_teachers_and_more_views() -> None:
    base, small, tiny = (teacher.model for teacher in TEACHERS)
    assert chosen(1000, GPU).teacher == base
    assert chosen(1000, CPU).teacher == tiny
    assert chosen(1000, Hardware(None, 32)).teacher == small
    assert chosen(1000, GPU).views == 8
    assert (chosen(10**6, CPU).teacher, chosen(10**6, CPU).views) == (tiny, 2)
    assert chosen(10**6, CPU).epochs == 10
    few = chosen(300, CPU)
    guess = minutes(sizes(300), CPU, few.teacher, few.views, few.epochs)
    assert 0 < (guess or 0) <= 10


def test_choose__takes_what_it_is_told() -> None:
    choice = choose(sizes(1000), CPU, "some/folder", "mine")
    assert (choice.teacher, choice.student) == ("some/folder", "mine")
    assert chosen(1000, CPU).student == STUDENT
    large, small = (chosen(100, CPU, teacher.model) for teacher in (TEACHERS[0], TEACHERS[2]))
    assert large.views < small.views, "the passes of a larger teacher take longer"


@pytest.mark.parametrize("images", [30, 300, 3000, 30000])
def test_choose__batches_leave_steps_enough(images: int) -> None:
    choice = chosen(images, GPU)
    train = sizes(images).train
    assert 16 <= choice.batch <= 128
    assert choice.batch == 16 or train // choice.batch >= 8
    steps = max(1, train // choice.batch) * choice.epochs
    assert choice.ema_decay == 0.9 or 1 / (1 - choice.ema_decay) <= steps / 10, "the average forgets the first steps"


@pytest.mark.parametrize("test", [10, 60, 200, 2000])
def test_choose__a_target_that_can_be_shown(test: int) -> None:
    choice = choose(Sizes(train=600, val=100, calibration=100, test=test), CPU)
    confidence = confidence_of_look(1, 0.95)  # as the first look is judged
    differing = may_differ(test, choice.agreement)
    if test > 10:
        assert Proportion(test - differing, test).lower(confidence) >= choice.agreement
        assert differing >= 0.05 * test
    assert Proportion(test - differing - 1, test).lower(confidence) < choice.agreement
    assert choice.agreement == {10: 0.7, 60: 0.85, 200: 0.9, 2000: 0.9}[test]


def test_minutes__follow_views_epochs_and_the_model() -> None:
    base, _, tiny = (teacher.model for teacher in TEACHERS)
    quick, long = (minutes(sizes(1000), CPU, tiny, 2, epochs) or 0 for epochs in (1, 101))
    assert round(long - quick) == round(100 * 600 / CPU.student_images / 60)
    assert (minutes(sizes(1000), CPU, tiny, 8, 1) or 0) > quick
    assert (minutes(sizes(1000), CPU, base, 2, 1) or 0) > quick
    assert minutes(sizes(1000), CPU, "some/folder", 2, 1) is None
