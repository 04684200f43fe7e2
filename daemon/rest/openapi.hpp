#pragma once
// The OpenAPI 3.1 document, made from the list of operations.  Pure functions; any thread.

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "daemon/rest/operation.hpp"

namespace paretod {

/// components.schemas: one JSON schema by name.
nlohmann::json openapi_schemas();

nlohmann::json openapi_document(const std::vector<Operation>& operations);

}  // namespace paretod
