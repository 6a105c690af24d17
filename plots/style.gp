# style.gp - what all figures have in common.
#
# A driver sets out (name without extension) and, from the command line, kind
# ("svg" or "png"); width and height are pixels of the svg.
if (!exists("kind")) kind = "svg"
if (!exists("width")) width = 940
if (!exists("height")) height = 480
if (kind eq "png") {
    set terminal pngcairo noenhanced font "Sans,11" size 1.25*width, 1.25*height fontscale 1.1
} else {
    set terminal svg noenhanced font "Sans,12" size width, height background "white"
}
set output out.".".kind
set datafile separator "\t"
set datafile missing "-"
set encoding utf8
set border 3 lc rgb "#404040"
set tics nomirror out scale 0.5
set grid ytics lt 1 lc rgb "#d8d8d8" lw 0.7, lt 1 lc rgb "#e8e8e8" lw 0.5
set key noenhanced
# told apart by people who see colours differently: Okabe and Ito, then darker kin
array colour[16] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", \
                    "#404040", "#003f5f", "#7a3600", "#00523c", "#7d3f63", "#8a5f00", "#2b6f94", \
                    "#b0a000", "#909090"]
tint(i) = colour[(i - 1) % 16 + 1]
# a title too long for the room above a plot goes on in a second line
room_of_title = int((width - 380) / 7.7)
gap(s, k) = k < 2 || s[k:k] eq " " ? k : gap(s, k - 1)
folded(s) = strlen(s) <= room_of_title || gap(s, room_of_title) < 2 ? s \
    : s[1:gap(s, room_of_title) - 1]."\n".folded(s[gap(s, room_of_title) + 1:*])
