// tensorflow/c/kernels.h asks a header of this name whether it is a small build, which leaves out what setup does not unpack
// from the wheel: setup takes TensorFlow's C interface alone. Searched last: the real one comes first where it is there.
#pragma once
#define IS_SLIM_BUILD
