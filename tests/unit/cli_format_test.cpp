#include "daemon/cli/format.hpp"

#include <gtest/gtest.h>

#include "daemon/cli/json_view.hpp"
#include "daemon/cli/table.hpp"

namespace paretod::cli {
namespace {

using Strings = std::vector<std::string>;

TEST(CliFormat, NumbersHaveFourDigits) {
  EXPECT_EQ(format_number(0), "0");
  EXPECT_EQ(format_number(-0.0), "0");
  EXPECT_EQ(format_number(12), "12");
  EXPECT_EQ(format_number(0.412345), "0.4123");
  EXPECT_EQ(format_number(0.5), "0.5");
  EXPECT_EQ(format_number(123456.7), "123457");
  EXPECT_EQ(format_number(-31.256), "-31.26");
  EXPECT_EQ(format_number(1.5e-7), "1.5e-7");
  EXPECT_EQ(format_number(2.5e12), "2.5e12");
  EXPECT_EQ(format_number(1e300), "1e300");
}

TEST(CliFormat, TheStandardErrorDecidesThePlaces) {
  EXPECT_EQ(format_measured({0.412345, 0.00512}), "0.4123 ± 0.0051");
  EXPECT_EQ(format_measured({12345.6, 230}), "12346 ± 230");
  EXPECT_EQ(format_measured({0.5, 0.25}), "0.50 ± 0.25");
  EXPECT_EQ(format_measured({0.412345, {}}), "0.4123");
  EXPECT_EQ(format_measured({0.412345, 0.0}), "0.4123");
  EXPECT_EQ(format_measured({1.2343e-8, 1.1e-9}), "1.234e-8 ± 1.1e-9");
}

TEST(CliFormat, AnErrorOfRoundingIsNotShown) {
  EXPECT_EQ(format_measured({0.25, 1e-16}), "0.250000");
}

TEST(CliFormat, AColumnSharesItsPlaces) {
  EXPECT_EQ(format_column({Measured{0.3771, 0.0021}, std::nullopt, Measured{0.42, 0.0123}}),
            (Strings{"0.3771 ± 0.0021", "-", "0.4200 ± 0.0123"}));
  EXPECT_EQ(format_column({Measured{1}, Measured{250}}), (Strings{"1", "250"}));
  EXPECT_EQ(format_column({Measured{0.1}, Measured{0.99579}}), (Strings{"0.10000", "0.99579"}));
  EXPECT_EQ(
      format_column({Measured{0.0432, 0.0011}, Measured{-0.01, 0.0011}, Measured{0, 0.0011}}, true),
      (Strings{"+0.0432 ± 0.0011", "-0.0100 ± 0.0011", "0.0000 ± 0.0011"}));
  EXPECT_TRUE(format_column({}).empty());
}

TEST(CliFormat, Durations) {
  EXPECT_EQ(format_seconds(0.84), "0.8 s");
  EXPECT_EQ(format_seconds(-3), "0.0 s");
  EXPECT_EQ(format_seconds(12.4), "12 s");
  EXPECT_EQ(format_seconds(59.6), "1 m 00 s");
  EXPECT_EQ(format_seconds(95), "1 m 35 s");
  EXPECT_EQ(format_seconds(7500), "2 h 05 m");
  EXPECT_EQ(format_seconds(86400 * 3 + 3600 * 4), "3 d 4 h");
  EXPECT_EQ(format_seconds(1e300), "1e300 s");
}

TEST(CliFormat, CountsBytesTimesAndPlurals) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1234567), "1,234,567");
  EXPECT_EQ(format_bytes(512), "512 B");
  EXPECT_EQ(format_bytes(4100), "4.1 kB");
  EXPECT_EQ(format_bytes(999'600), "1.0 MB");
  EXPECT_EQ(format_time("2024-11-23T18:31:02.123Z"), "2024-11-23 18:31:02");
  EXPECT_EQ(plural(1, "point"), "1 point");
  EXPECT_EQ(plural(2000, "point"), "2,000 points");
}

TEST(CliFormat, WidthIsInCharacters) {
  EXPECT_EQ(display_width("a±b…"), 4u);
  EXPECT_EQ(pad_left("±", 3), "  ±");
  EXPECT_EQ(pad_right("±", 3), "±  ");
  EXPECT_EQ(cut("±±±±", 4), "±±±±");
  EXPECT_EQ(cut("±±±±", 3), "±±…");
  EXPECT_EQ(cut("abc", 1), "…");
  EXPECT_EQ(cut("abc", 0), "");
}

TEST(CliFormat, WrapsAtBlanks) {
  EXPECT_EQ(wrap("one two  three", 7), (Strings{"one two", "three"}));
  EXPECT_EQ(wrap("incomprehensible word", 5), (Strings{"incomprehensible", "word"}));
  EXPECT_EQ(wrap("", 5), (Strings{""}));
}

TEST(CliFormat, ControlCharactersDoNotReachTheTerminal) {
  EXPECT_EQ(printable("red \x1b[31m\nnext\x7f"), "red ?[31m next?");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m ±"),
            "?31m ±");
}

TEST(CliTable, AlignsColumns) {
  Table table;
  table.add_column("n", {"1", "100"}, Table::Align::right);
  table.add_column("name", {"a±", "longer"});
  table.add_column("x", {"", "y"});
  EXPECT_EQ(table.lines(),
            (Strings{"  n  name    x", "───  ──────  ─", "  1  a±", "100  longer  y"}));
}

TEST(CliTable, CutsTheLastColumnToTheWidth) {
  Table table;
  table.add_column("n", {"1"});
  table.add_column("text", {"a text that is much too long"});
  const Strings lines = table.lines(20);
  EXPECT_EQ(lines[2], "1  a text that is m…");
  for (const std::string& line : lines) EXPECT_LE(display_width(line), 20u);
}

TEST(CliTable, KeepsAReadableLastColumnWhereThereIsNoRoom) {
  Table table;
  table.add_column("a long title that fills the terminal", {"1"});
  table.add_column("text", {"twelve chars and more"});
  EXPECT_EQ(table.lines(20)[2].substr(38), "twelve char…");
}

}  // namespace
}  // namespace paretod::cli
