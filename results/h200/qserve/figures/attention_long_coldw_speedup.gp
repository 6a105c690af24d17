out = "attention_long_coldw_speedup"
title = "few long sequences (coldw)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache coldw, regime steady, profile reproduce, 3 invocations, n = 1 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
in = "attention_long_coldw_speedup.tsv"
xlabel = ""
ylabel = "speedup over kv16_split, x"
reported = ""
names = ""
array legend[7] = ["KV4, naive", "KV4 of QServe", "KV8 of QServe", "KV4, split sequence, tensor cores", "KV8, split sequence, tensor cores", "KV8, one scale a tensor, split sequence, tensor cores", "KV16, cuBLAS and a softmax kernel"]
n = 7
cases = 1
stacked = 0
longest = 0
width = 940
load "bars.gp"
