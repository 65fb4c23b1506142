"""What is said of a name that does not exist."""

from cnnbench.nearest import FEW, alternatives, nearest


def test_the_likest_come_first_whatever_their_case_and_punctuation():
    assert nearest("ab", ["q", "abc", "xyz", "ABD", "A-b"]) == ["A-b", "abc", "ABD"]  # 1, 0.8 and 0.8 alike
    assert nearest("ResNet-18", ["resnet20", "vgg11", "resnet18"])[0] == "resnet18"


def test_of_few_names_all_are_said_and_of_many_the_nearest_and_where_all_stand():
    names = [f"name_{letter}" for letter in "abcdefgh"]
    assert len(names) == FEW
    assert alternatives("x", names, "cnnbench models") == f"choose from {', '.join(names)}"
    assert (
        alternatives("nome_i", [*names, "name_i"], "cnnbench models")
        == "the nearest are name_i, name_a, name_b; 'cnnbench models' lists all 9"
    )


def test_what_is_no_text_has_nearest_names_as_well():
    assert nearest(7, ["kernel_3", "kernel_7", "pointwise"])[0] == "kernel_7"
