#pragma once
// Aligned tables for a terminal.  A plain value.

#include <cstddef>
#include <string>
#include <vector>

namespace paretod::cli {

class Table {
 public:
  enum class Align { left, right };

  /// The title decides nothing but the first line; numbers are best aligned right.
  void add_column(std::string title, std::vector<std::string> cells, Align align = Align::left);

  /// A line of titles, a rule, and a line per row, without trailing blanks.  The last column is
  /// cut where the table would be wider than `width` (0: as wide as it is).  Short columns are
  /// filled up with empty cells.
  [[nodiscard]] std::vector<std::string> lines(std::size_t width = 0) const;

 private:
  struct Column {
    std::string title;
    std::vector<std::string> cells;
    Align align;
  };
  std::vector<Column> columns_;
};

}  // namespace paretod::cli
