import numpy as np

from components.explanation.answers.detection import plugin
from components.serving.detections import Detections


def test_answers_are_the_boxes_that_people_see():
    boxes = np.array([[0, 0, 4, 4], [8, 8, 16, 16]], np.float32)
    [answer] = plugin.of(Detections(boxes, np.array([3, 5]), np.array([0.9, 0.2], np.float32)), [])
    assert answer.label == 3
    assert answer.part.boxes_xyxy.tolist() == [[0, 0, 4, 4]]


def test_a_box_is_borne_out_by_what_is_in_it_alone(blobs):
    without_first, without_second = blobs.pixels.copy(), blobs.pixels.copy()
    without_first[:16, :16], without_second[16:, 16:] = 0, 0
    scores = [blobs.subject.scores(blobs.subject.image(pixels), blobs.first)[0] for pixels in (blobs.pixels, without_first, without_second)]
    assert scores[0] > 0.8
    assert scores[1] < 0.3
    assert scores[2] == scores[0]


def test_a_box_elsewhere_is_another_answer(blobs):
    moved = blobs.first._replace(part=blobs.first.part._replace(boxes_xyxy=np.array([[10, 2, 26, 18]], np.float32)))
    exact, shifted = (blobs.subject.scores(blobs.image, answer)[0] for answer in (blobs.first, moved))
    assert shifted < 0.7 * exact
