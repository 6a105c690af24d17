# gpus.gp - one series per GPU: speedups above, fractions of the speed of light below.
#
#   speedups, lights  names of .tsv: what, then for each of n series value, low, high; in
#                     speedups then one value for each of m series that papers report: hollow
#   legend[n], reported[m], caption[n], title, groups
load "style.gp"
pixels(y) = 1.0 * y / height
do for [r = 1:n] {
    set label r caption[r] at screen 0.01, pixels(10 + 14 * (n - r)) left font ",8" \
        tc rgb "#606060" noenhanced
}
keys = pixels(14 * n + 24 + 18 * (n + m))
foot = keys + pixels(130)
middle = foot + (0.93 - foot) * 0.42
set style fill solid 0.85 border lc rgb "#ffffff"
set xrange [-0.6:groups - 0.4]
room = 0.84 / (n + (m ? 1 : 0))
at(i) = (i - 0.5) * room - 0.42
hollow(i) = (n + (i - 0.5) / m) * room - 0.42
of(i, k) = column(2 + 3 * (i - 1) + k)
mark(i) = word("6 4 8 10 12 14 1 2", i) + 0
set boxwidth room * 0.92
set multiplot title title font ",13" noenhanced
set lmargin screen 80.0 / width
set rmargin screen 1 - 60.0 / width
speedups = speedups.".tsv"
lights = lights.".tsv"

set tmargin screen 0.93
set bmargin screen middle + 0.02
set yrange [0:*]
set ylabel "speedup over the baseline\non that GPU, 95 %" noenhanced
set format x ""
set key at screen 0.01, keys left top vertical Left reverse maxcols 1 samplen 1 font ",9"
set arrow 1 from graph 0, first 1 to graph 1, first 1 nohead lc rgb "#404040" dt 2 lw 1 front
plot for [i = 1:n] speedups every ::1 using ($0 + at(i)):(of(i, 0)):(room * 0.92) \
         with boxes lc rgb tint(i) notitle, \
     for [i = 1:n] speedups every ::1 using ($0 + at(i)):(of(i, 1)):(0):(of(i, 2) - of(i, 1)) \
         with vectors heads size screen 0.003, 90 lw 1.5 lc rgb "#202020" notitle, \
     for [i = 1:m] speedups every ::1 using ($0 + hollow(i)):(column(1 + 3 * n + i)) \
         with points pt mark(i) ps 1 lw 1.4 lc rgb "#000000" notitle, \
     for [i = 1:n] keyentry with boxes lc rgb tint(i) title legend[i], \
     for [i = 1:m] keyentry with points pt mark(i) ps 1 lw 1.4 lc rgb "#000000" title reported[i]

unset arrow 1
unset key
do for [r = 1:n] { unset label r }
set title
set tmargin screen middle - 0.02
set bmargin screen foot
set yrange [0:*]
set ylabel "fraction of the speed of light,\nmedian and quartiles" noenhanced
set format x "%s"
set xtics rotate by 25 right font ",8" noenhanced
plot for [i = 1:n] lights every ::1 using ($0 + at(i)):(of(i, 0)):(room * 0.92) \
         with boxes lc rgb tint(i) notitle, \
     for [i = 1:n] lights every ::1 using ($0 + at(i)):(of(i, 1)):(0):(of(i, 2) - of(i, 1)) \
         with vectors heads size screen 0.003, 90 lw 1.5 lc rgb "#202020" notitle, \
     lights every ::1 using 0:(NaN):xticlabels(1) with points notitle
unset multiplot
