# roofline.gp - rate over operations per byte, under the measured ceilings.
#
#   in   .tsv: series (1 .. n), operations per byte, GFLOP/s
#   n, legend[n], title, caption
#   c    ceilings; slope[c]: GB/s, 0: flat; flat[c]: GFLOP/s; roof[c]: names
load "style.gp"
set label 1 caption at screen 0.01, 10.0 / height left font ",8" tc rgb "#606060" noenhanced
set bmargin 5.5
set title title font ",13" noenhanced
set xlabel "operations per byte of every operand once" noenhanced
set ylabel "GFLOP/s" noenhanced
set logscale xy
set grid xtics ytics lc rgb "#e0e0e0" lw 0.7
set key outside right top vertical samplen 1.5
set xrange [lowest:highest]
set samples 400
plot for [k = 1:c] (slope[k] > 0 ? slope[k] * x : flat[k]) \
         with lines lw 1.5 dt k lc rgb "#404040" title roof[k], \
     for [i = 1:n] in every ::1 using (column(1) == i ? column(2) : NaN):3 with points pt 6 ps 0.5 \
         lc rgb tint(i) notitle, \
     for [i = 1:n] keyentry with points pt 7 ps 0.9 lc rgb tint(i) title legend[i]
