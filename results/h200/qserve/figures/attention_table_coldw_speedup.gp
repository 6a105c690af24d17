out = "attention_table_coldw_speedup"
title = "attention_table: speedup (coldw)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache coldw, regime steady, profile reproduce, 3 invocations, n = 5 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
in = "attention_table_coldw_speedup.tsv"
xlabel = "length"
ylabel = "speedup, geometric mean over cases, 95 %"
n = 11
logx = 2
logy = 0
band = 1
width = 1060
lowest = 106.666667
highest = 3686.4
ticks = "128 256 512 1024 1536"
array legend[11] = ["kv4_published over kv8_published", "kv8_published over kv4_naive", "kv4_published over kv4_naive", "kv4_own over kv4_published", "kv8_own over kv8_published", "kv4_own over kv16_split", "kv8_own over kv16_split", "kv4_own over kv8_own", "kv8_static_own over kv8_own", "kv4_published over kv16_split", "kv16_split over kv16_cublas"]
m = 0
array place[1] = [2918.4]
array value[1] = [0]
array name[1] = [""]
load "lines.gp"
