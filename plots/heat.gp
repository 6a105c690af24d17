# heat.gp - tables of fractions as colours, panels side by side.
#
#   panel[panels]: files with a head line of columns and a row name first
#   heading[panels], rows (of the longest panel), title, xlabel, caption
#   reverse: 1 where little is good
load "style.gp"
set label 1 caption at screen 0.01, 10.0 / height left font ",8" tc rgb "#606060" noenhanced
left = 0.19 * 860.0 / width
set multiplot layout 1, panels title title font ",13" noenhanced \
    margins left, 0.93, 0.75 / (height / 100.0), 1 - 0.85 / (height / 100.0) spacing 0.012, 0.05
set cbrange [0:1]
if (reverse) {
    set palette defined (0 "#fff7ec", 0.5 "#fdbb84", 0.85 "#d7301f", 1 "#5f0000")
} else {
    # one ramp of lightness from dark violet to yellow: the same order to every eye, and in grey
    set palette defined (0 "#440154", 0.25 "#3b528b", 0.5 "#21918c", 0.75 "#5ec962", 1 "#fde725")
}
set datafile missing "NaN"
unset grid
set border 0
set tics scale 0
set yrange [rows - 0.5:-0.5]
set xtics font ",9"
set ytics font ",9"
set xlabel xlabel noenhanced
do for [p = 1:panels] {
    set title heading[p] font ",11" noenhanced
    if (p > 1) { set ytics tc rgb "#ffffffff"; unset label 1 }  # row names once
    unset colorbox
    if (p == panels) { set colorbox user origin 0.945, 0.25 size 0.014, 0.5 }
    dark(z) = reverse ? z > 0.6 : z < 0.6
    bright(z) = dark(z) ? 0xffffff : 0x202020
    shown(z) = z == z ? sprintf("%.2f", z) : ""
    plot panel[p] matrix rowheaders columnheaders using 1:2:3 with image notitle, \
         panel[p] matrix rowheaders columnheaders \
             using 1:2:(shown($3)):(bright($3)) \
             with labels tc rgb variable font (panels > 1 ? ",7" : ",8") notitle
}
unset multiplot
