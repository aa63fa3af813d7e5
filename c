TRT-100-EntropyCalibration2
image: 3c0101e8
first.norm: 3d1794f3
first: 3c86ad5b
second.norm: 3cc7cf9f
second: 3ccdb71c
joined: 3ccdb71c
pooled: 3ca14285
flat: 3ca14285
hidden: 3caa6b1f
product: 3ca2e169
scores: 3ccec25c
prob: 3bc2e660
up: 3cb60c18
