"""The commands of ``liquid-lane``: each parses its options, calls one function and prints."""

import cv2

cv2.setNumThreads(1)  # processes or torch's threads do the work; more would only contend
