#pragma once
// Pieces of JSON written by hand, where making a document first would cost more than all the rest.
// Pure functions; any thread.

#include <cstdint>
#include <string>
#include <string_view>

namespace paretod {

/// As nlohmann::json writes it, quotes included; what is not UTF-8 is repaired.
void append_json_string(std::string& out, std::string_view text);
/// The same without the quotes: pieces that begin and end with whole characters can be joined.
void append_json_escaped(std::string& out, std::string_view text);

/// The shortest text that reads back as the same number, which has to be finite.
void append_json_number(std::string& out, double value);
void append_json_number(std::string& out, std::int64_t value);
void append_json_number(std::string& out, std::uint64_t value);

}  // namespace paretod
