out = "spmm_hot_wins_all"
title = "spmm (hot): share of cases won, among all rows"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce, 3 invocations, n = 234 cases, run 8f0f2c1c-2c53-4826-97ab-13e46776e191"
xlabel = "n"
array panel[1] = ["spmm_hot_wins_all.tsv"]
array heading[1] = ["NVIDIA H200, measured"]
panels = 1
n = 20
ylabel = "share of cases won"
array legend[20] = ["rb_sr_rm", "rb_pr_rm", "eb_sr_rm", "eb_pr_rm", "rb_sr_cm", "rb_pr_cm", "eb_pr_cm_mended", "rb_sr_rm_rc", "eb_sr_rm_rc", "daspmm_select_paper", "cusparse_csr_alg2_pre_rm", "cusparse_csr_alg3_rm", "cusparse_csr_alg3_pre_rm", "cusparse_coo_default_rm", "cusparse_coo_alg1_rm", "cusparse_coo_alg3_rm", "cusparse_coo_alg4_rm", "cusparse_csr_alg1_pre_cm", "cusparse_csr_alg2_pre_cm", "cusparse_coo_alg3_cm"]
stacked = 1
width = 940
height = 440
load "bars.gp"
